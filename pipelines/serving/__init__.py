"""The service's parts. `app.create_app` joins them; `deploy.build` puts that on Ray Serve.

    request ─ context ─ auth ─ limits ─ routes ─ backend ─ worker ─ codec
              (id,      (bearer (bytes,  (/v1/*)  (this     (one job
               headers,  token)  time)            process    at a time)
               metrics)                           or Ray)

Everything up to the backend runs without Ray, so it can be tested, and hosted, as a plain ASGI
application.
"""
