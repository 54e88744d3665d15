"""The live view in a browser: Starlette and server-sent events, and a page of plain modules that is kept in the package.

`gate` decides who is let in, `pages` what is answered, `hub` what is sent by itself, `serving` runs it. Only this machine
and only its person: begin with `gate`. Never send text but as JSON, and never let a page of elsewhere read or write.
"""
