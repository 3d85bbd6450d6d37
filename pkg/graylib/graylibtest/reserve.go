package graylibtest

import "testing"

// ReserveAddr returns an address of 127.0.0.1 that refuses connections until the test itself listens on it. On Unix nobody is
// given its port by chance while the test lasts, neither a listener on port 0 nor a connection on its way out: a port that was
// free a moment ago, and is not held, sooner or later is two tests' at once. Elsewhere it is only that.
func ReserveAddr(t testing.TB) string {
	t.Helper()
	addr, release, err := reserve()
	if err != nil {
		t.Fatalf("no port of 127.0.0.1 to reserve: %v", err)
	}
	t.Cleanup(release)
	return addr
}
