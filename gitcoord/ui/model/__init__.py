"""What the view shows, as rows: facts in, rows out. Pure, with the clock passed in, so it is tested without any screen.

Every foreign word is made inert and bounded here, once, for both faces. Begin with `screen`.
"""
