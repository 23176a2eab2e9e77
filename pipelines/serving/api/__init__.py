"""The endpoints: each checks its input, hands a job to the backend, and dresses the answer."""
