"""Tables in, Altair charts out: one function a figure, shared by the dashboard, the report and a paper."""
