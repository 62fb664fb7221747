"""SageMaker HyperPod clusters."""
