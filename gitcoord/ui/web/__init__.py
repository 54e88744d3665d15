"""The live view in a browser: Starlette and server-sent events, and a page of plain modules that is kept in the package.

`gate` lets requests in or refuses them, `pages` answers them, `hub` sends news, `serving` runs the server. Begin with
`gate`: only this machine and only its person may enter. Send text only as JSON, and never let a page of another origin read
or write.
"""
