"""A Kubernetes node whose containers are processes of this machine: what the scheduler places on it runs for real.

`python -m tests.kubernetes.process_node --kubeconfig FILE --name NAME --folder DIR` is one node. A container's root is
this machine's, under an overlay that keeps what it writes; an image is a folder whose content is laid over it. Every
pod has processes, a host name and a network of its own (10.244.0.0/16 on a bridge of this machine, nothing beyond it),
and finds the others by the names that cluster DNS would give them; `hostNetwork` is honoured. Volumes are claims
(folders of this machine), emptyDir, hostPath, configMap, secret, downwardAPI, and projections of the last three.
`kubectl logs` works. There are no exec, probes, sidecar init containers, limits of resources, users or capabilities of
a security context, tokens of service accounts, and no way from a pod to the API server.

It takes root, Debian's iproute2 and util-linux. However a node ends, its pods end with it; it outlives a restart of the
API server. A node that gets SIGTERM leaves the cluster; one that gets SIGKILL is a lost node.
"""
