package localinfra

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

// A server that gives up because its database was late is started once more, and once alone; nobody hears of a death.
func TestStartOnceMore(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		runs         string // what each run adds to the file
		errText      string // of the error; "" = it starts
		told         string
		deaths       int
	}{
		{"late once", `echo x >> runs; [ "$(wc -l < runs)" = 1 ] && { echo "Caused by: ERROR: Login timeout exceeded."; exit 1; }; touch ready; exec sleep 60`, "x\nx\n", "", "database didn't open in time", 0},
		{"late always", `echo x >> runs; echo "Login timeout exceeded."; exit 1`, "x\nx\n", "the second try; at the first its database didn't open in time", "database didn't open in time", 1},
		{"another reason", `echo x >> runs; echo "no such luck"; exit 3`, "x\n", "exit status 3", "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			group, err := proc.NewGroup()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := group.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			var told []string
			cleaned := 0
			s := &Server{name: Nacos, limit: time.Minute, group: group, record: &recorder{tell: func(e Event) {
				if e.Problem != nil {
					told = append(told, e.Server+": "+e.Problem.Error())
				}
			}}, launch: launch{
				spec: proc.Spec{Name: Nacos, Path: "sh", Args: []string{"-c", tt.script}, Dir: dir, Log: filepath.Join(dir, "log"), Grace: proc.KillAtOnce},
				check: func(context.Context) error {
					_, err := os.Stat(filepath.Join(dir, "ready"))
					return err
				},
				passing: databaseLate,
				clean:   func() error { cleaned++; return nil },
			}}
			err = s.start(t.Context(), false)
			if (err == nil) != (tt.errText == "") || err != nil && !strings.Contains(err.Error(), tt.errText) {
				t.Errorf("error %v, want one with %q", err, tt.errText)
			}
			var exit *proc.Exit
			if err != nil && (!errors.Is(err, ErrServer) || !errors.As(err, &exit)) {
				t.Errorf("error %v, want ErrServer with how the process ended", err)
			}
			if runs, _ := os.ReadFile(filepath.Join(dir, "runs")); string(runs) != tt.runs {
				t.Errorf("it ran as %q, want %q", runs, tt.runs)
			}
			if got := strings.Join(told, "\n"); !strings.Contains(got, tt.told) || (tt.told == "") != (got == "") {
				t.Errorf("told %q, want %q", got, tt.told)
			}
			if again := len(tt.runs) > 2; cleaned != 0 != again {
				t.Errorf("cleaned %d times", cleaned)
			}
			// A death is reported by a goroutine of its own, just after the start has heard of it.
			for until := time.Now().Add(30 * time.Second); len(group.Deaths()) < tt.deaths && time.Now().Before(until); {
				runtime.Gosched()
			}
			if n := len(group.Deaths()); n != tt.deaths {
				t.Errorf("%d deaths are reported, want %d", n, tt.deaths)
			}
		})
	}
}
