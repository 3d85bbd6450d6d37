package e2e

import "os"

// full tells whether the figures are to be run in full (make check-full-chain).
func full() bool { return os.Getenv("GRAYCHAIN_E2E_FULL") == "1" }
