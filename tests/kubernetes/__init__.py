"""Tests on a real Kubernetes: its control plane and the jobs' controllers, and nodes whose pods are processes here."""
