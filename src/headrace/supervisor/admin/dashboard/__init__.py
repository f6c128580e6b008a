"""The dashboard at `/` of the admin port: pages rendered here, kept live by server-sent events.

No build step and nothing from elsewhere: templates, one style sheet and one script, under a strict content security
policy. A page is rendered anew when the counters were read; the script puts into the document what has changed.
"""
