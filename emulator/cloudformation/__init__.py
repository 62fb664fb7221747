"""A CloudFormation engine that behaves as AWS's does: strict, ordered, with events, rollback and clean deletion."""
