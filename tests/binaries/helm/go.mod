module slipway.dev/tests/binaries/helm

go 1.24.0

require helm.sh/helm/v3 v3.20.2
