"""What a run found: tables, verdict, summary, export."""
