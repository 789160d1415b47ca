"""A model as a web page and an HTTP interface. Only `app`, `guard` and `server` import starlette and uvicorn."""
