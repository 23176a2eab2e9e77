"use strict";
// validatorUrl null: Swagger UI would otherwise send the document's address to its makers.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger", validatorUrl: null });
