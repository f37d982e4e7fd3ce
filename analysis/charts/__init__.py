"""Tables in, Altair charts out: one function a figure, for the dashboard, the report and papers."""
