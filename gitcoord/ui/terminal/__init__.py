"""The live view in a terminal, on Textual: `app` is the frame, `rows` the lists, `listings` what stands in them, `details`
the pane beside them, `forms` what is filled in. This room uses `model` and the desk; begin with `app`."""
