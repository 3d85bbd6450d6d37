package grayrocketmq

import (
	"os"
	"testing"

	"github.com/graychain/graychain/internal/proc"
)

func TestMain(m *testing.M) {
	proc.GuardMain() // servers that a test starts end with the test
	os.Exit(m.Run())
}
