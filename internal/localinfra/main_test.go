package localinfra

import (
	"os"
	"testing"

	"github.com/graychain/graychain/internal/proc"
)

func TestMain(m *testing.M) {
	proc.GuardMain()
	os.Exit(m.Run())
}
