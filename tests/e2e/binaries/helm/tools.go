//go:build tools

// Package tools pins the Helm client that the tests install the charts with.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
