package lanescmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestUntil: waiting ends when nothing is left twice in a row, by an interrupt, at its time, or by an error that stops it; a look
// that fails is said and made again.
func TestUntil(t *testing.T) {
	errAway, errOver := errors.New("broker away"), errors.New("listed again")
	some, none := looked{left: 3, text: "3 left"}, looked{text: "none left", done: true}
	type step struct {
		looked
		err error
	}
	for name, tc := range map[string]struct {
		steps     []step // the last one is repeated
		wait      time.Duration
		interrupt bool
		out       string
		errOut    string
		err       string
	}{
		"nothing left":     {[]step{{none, nil}}, time.Minute, false, "none left\n", "", ""},
		"less and less":    {[]step{{some, nil}, {none, nil}}, time.Minute, false, "3 left\nnone left\n", "", ""},
		"a look fails":     {[]step{{none, nil}, {looked{}, errAway}, {none, nil}}, time.Minute, false, "none left\n", "what is left can't be known now, trying again: broker away\n", ""},
		"stopped":          {[]step{{some, nil}, {looked{}, stop{errOver}}}, time.Minute, false, "3 left\n", "", "listed again"},
		"late":             {[]step{{some, nil}}, 50 * time.Millisecond, false, "3 left\n", "", "late: 3 left, <nil>"},
		"late and unknown": {[]step{{looked{}, errAway}}, 50 * time.Millisecond, false, "", "what is left can't be known now, trying again: broker away\n", "late: , broker away"},
		"interrupted":      {[]step{{some, nil}}, time.Minute, true, "3 left\n", "", "interrupted: as it was"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				cmd := &cobra.Command{}
				cmd.SetContext(ctx)
				var out, errOut bytes.Buffer
				cmd.SetOut(&out)
				cmd.SetErr(&errOut)
				e := &ending{cmd: cmd, wait: tc.wait}
				n := 0
				err := e.until(func(context.Context, bool) (looked, error) {
					s := tc.steps[min(n, len(tc.steps)-1)]
					if n++; tc.interrupt {
						cancel()
					}
					return s.looked, s.err
				}, "as it was", func(last looked, failed error) error {
					return errors.New("late: " + last.text + ", " + fmt.Sprint(failed))
				})
				got := ""
				if err != nil {
					got = err.Error()
				}
				if diff := cmp.Diff([]string{tc.out, tc.errOut, tc.err}, []string{out.String(), errOut.String(), got}); diff != "" {
					t.Errorf("stdout, stderr, error (-want +got):\n%s", diff)
				}
			})
		})
	}
}
