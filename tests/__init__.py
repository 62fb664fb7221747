"""Tests of trainforge."""
