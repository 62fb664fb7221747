"""The subscription to health records in a HyperPod cluster's log group."""
