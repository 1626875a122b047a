"""State `Finish Run`: conservation, manifest, report, completion event."""
