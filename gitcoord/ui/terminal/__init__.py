"""The live view in a terminal, on Textual: `app` is the frame, `rows` the lists, `listings` their rows, `details` the pane
beside them, `forms` the forms and questions. This room uses `model` and the desk; begin with `app`."""
