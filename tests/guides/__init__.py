"""The guides of docs/, whose commands are really run."""
