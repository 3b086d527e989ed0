// Package kube tries the Kubernetes catalogue on a real API server over etcd. It
// is run by `make test-full`, which builds the server from its module
// (k8s.io/kubernetes, Apache-2.0) into .cache/bin; no controllers and no nodes run.
package kube
