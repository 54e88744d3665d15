"""Make the rows of the view from the facts. It is pure, with the clock passed in, so that it is tested without a screen.

Every foreign word is made inert and bounded here, once, for both faces. Begin with `screen`.
"""
