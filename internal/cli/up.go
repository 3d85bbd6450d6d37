package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/internal/suite"
)

// Times of `graychain up`.
const (
	loopPatience = 20 * time.Second // until a loop is closed: a consumer that is new asks its queues within a second
	stopLimit    = 75 * time.Second
	orphanLimit  = 2 * time.Second // nobody waits for an orderly end any more: what takes longer is killed
)

// errParentGone ends a suite whose starter has ended.
var errParentGone = errors.New("the process that started this one has ended")

func newUp() *cobra.Command {
	var flags upFlags
	cmd := &cobra.Command{
		Use:   "up --infra=local",
		Short: "Start everything, and show that both loops close",
		Long: `up starts Nacos and RocketMQ, the gateway, the baseline of A, B and C and a gray lane, publishes the rule name=xiaoming,
sends a request without and one with it, and draws what became of them and of the messages that they caused. It then stays
until Ctrl-C, and takes everything with it when it ends, in whatever way.`,
		Example: `  graychain up --infra=local
  graychain up --infra=local --gray a,b --once
  graychain up --infra=local --detach && graychain send --name xiaoming && graychain down`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := stateDir(cmd)
			if err != nil {
				return err
			}
			plan, err := flags.plan(state)
			if err != nil {
				return err
			}
			if plan.detach {
				return detach(cmd, state)
			}
			ctx := cmd.Context()
			if !plan.detached {
				var cancel context.CancelCauseFunc
				ctx, cancel = context.WithCancelCause(ctx)
				defer cancel(nil)
				gone := proc.WatchParent(ctx)
				go func() {
					select {
					case <-gone:
						cancel(errParentGone)
					case <-ctx.Done():
					}
				}()
			}
			u := &up{plan: plan, out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), paint: draw.NewPainter(cmd.OutOrStdout())}
			return u.run(ctx)
		},
	}
	flags.register(cmd)
	return cmd
}

// up is one run of the command.
type up struct {
	plan     upPlan
	out, err io.Writer
	paint    *draw.Painter
	suite    *suite.Suite
	begun    time.Time
}

func (u *up) printf(format string, args ...any) { _, _ = fmt.Fprintf(u.out, format, args...) }

func (u *up) run(ctx context.Context) error {
	u.begun = time.Now()
	show := newProgress(u.err, u.plan.describe())
	defer show.close()
	u.plan.options.Progress = show.step

	s, err := suite.Start(ctx, u.plan.options)
	if err != nil {
		show.close()
		return u.interrupted(ctx, err)
	}
	u.suite = s
	closed, err := u.work(ctx, show)
	show.close()
	if end := u.stop(ctx); err == nil {
		err = end
	}
	if err != nil {
		return u.interrupted(ctx, err)
	}
	if u.plan.once && !closed {
		return errSilent // the drawings say why
	}
	return nil
}

// interrupted makes of an error that came of being told to end a short word; all else stays as it is.
func (u *up) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, errParentGone) {
		return err
	}
	if errors.Is(context.Cause(ctx), errParentGone) {
		return fmt.Errorf("ended before it was up: %w", errParentGone)
	}
	return errors.New("interrupted before it was up; nothing is left running")
}

// stop ends everything. A second signal doesn't shorten it, but kill -9 leaves nothing either.
func (u *up) stop(run context.Context) error {
	_, _ = fmt.Fprintln(u.err, "ending: services first, then the servers")
	limit := stopLimit
	if errors.Is(context.Cause(run), errParentGone) {
		limit = orphanLimit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), limit)
	defer cancel()
	return u.suite.Stop(ctx)
}

// work starts the rest, shows the loops, and stays unless it is for once. It tells whether both loops are closed.
func (u *up) work(ctx context.Context, show *progress) (bool, error) {
	show.step(suite.Progress{Part: "rules", Text: "publishing"})
	began := time.Now()
	demo, err := u.suite.PublishDemo(ctx, u.plan.lane.Tag)
	if err != nil {
		return false, fmt.Errorf("publishing the rules: %w", err)
	}
	show.step(suite.Progress{Part: "rules", Text: "published", Done: true, Took: time.Since(began)})
	if err := u.suite.Add(ctx, suite.Baseline, u.plan.lane); err != nil {
		return false, err
	}
	show.close()
	u.printf("\n%s\n", u.paint.Dim("rules: "+strings.Join(demo.Notes, "; ")))

	closed := true
	var first, took time.Duration
	sending := time.Now()
	for _, r := range []suite.Request{
		{Path: "/A/dubbo"},
		{Path: "/A/dubbo", Query: url.Values{"name": {demo.Name}}},
	} {
		ok, err := u.show(ctx, r)
		if err != nil {
			return false, err
		}
		if first == 0 {
			first, took = time.Since(u.begun), time.Since(sending)
		}
		closed = closed && ok
	}
	u.timings(first, took)
	u.suite.SetReady(closed)
	if u.plan.once {
		return closed, nil
	}
	u.howToGoOn(demo)
	return closed, u.stay(ctx)
}

// show sends a request and draws its loop.
func (u *up) show(ctx context.Context, r suite.Request) (bool, error) {
	answer, err := u.suite.Send(ctx, r)
	if err != nil {
		return false, err
	}
	judged, err := u.suite.Judge(ctx, r, answer.RequestID, loopPatience)
	if err != nil {
		return false, err
	}
	u.printf("\n")
	return judged.Verdict.Closed, drawLoop(u.out, u.paint, r, answer, judged)
}

func drawLoop(out io.Writer, paint *draw.Painter, r suite.Request, answer suite.Answer, judged suite.Judged) error {
	if _, err := fmt.Fprintf(out, "%s\n\n", paint.Dim(answerLine(answer))); err != nil {
		return err
	}
	return draw.Loop(out, paint, draw.Picture{
		Request: r.String(), Tag: judged.Tag, Loop: judged.Loop, Verdict: judged.Verdict, Took: answer.Took,
	})
}

// answerLine is the answer as a client without JSON sees it.
func answerLine(a suite.Answer) string {
	if a.Error != "" {
		return fmt.Sprintf("%d %s", a.Status, a.Error)
	}
	return a.Text
}

// timings says where the time went.
func (u *up) timings(first, took time.Duration) {
	parts := []string{}
	for _, t := range u.suite.Timings() {
		parts = append(parts, fmt.Sprintf("%s %.1f s", t.Part, t.Took.Seconds()))
	}
	parts = append(parts, fmt.Sprintf("loop closed %.1f s", took.Seconds()))
	u.printf("\nfirst loop after %.1f s: %s\n", first.Seconds(), strings.Join(parts, ", "))
}

func (u *up) howToGoOn(demo suite.Demo) {
	info := u.suite.Info()
	u.printf("\n")
	_ = writeProcesses(u.out, info)
	u.printf("\nGo on")
	if !u.plan.detached {
		u.printf(", in another terminal (Ctrl-C here ends everything)")
	}
	u.printf(":\n")
	self := program()
	for _, line := range []string{
		fmt.Sprintf("curl %s/A/dubbo", info.Gateway),
		fmt.Sprintf("curl '%s/A/dubbo?name=%s'", info.Gateway, demo.Name),
		fmt.Sprintf("curl -H 'Accept: application/json' '%s/A/stream?name=%s'", info.Gateway, demo.Name),
		self + " send --name " + demo.Name,
		self + " send --qps 50 --gray-share 20 --for 30s",
		self + " rules edit",
	} {
		u.printf("  %s\n", line)
	}
	u.printf("Logs are in %s; Nacos is at %s, RocketMQ's name server at %s.\n", shortPath(u.suite.Logs()), info.Nacos, info.Namesrv)
}

// stay waits for the end, and tells of processes that die meanwhile. Without a server nothing can go on.
func (u *up) stay(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errParentGone) {
				_, _ = fmt.Fprintln(u.err, errParentGone)
			}
			return nil
		case exit := <-u.suite.Deaths():
			if !strings.HasPrefix(exit.Name, suite.ServicePrefix) {
				return fmt.Errorf("a server has ended: %w", exit)
			}
			_, _ = fmt.Fprintf(u.err, "%s %s\n", u.paint.Bad("✗"), exit)
		}
	}
}
