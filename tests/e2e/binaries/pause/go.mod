module slipway.dev/tests/binaries/pause

go 1.24.0
