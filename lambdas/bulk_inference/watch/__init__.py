"""What goes on beside a run: stopping it, and finding what events missed."""
