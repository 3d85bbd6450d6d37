package grayrocketmq

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/santhosh-tekuri/jsonschema/v6"

	judging "github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// journalFolder is, in the environment of the process that TestJournalOfAKilledConsumer kills, its journal.
const journalFolder = "GRAYROCKETMQ_TEST_JOURNAL"

// journal is the journal of one process's life.
func (w *world) journal(dir, service string, tag graylib.Tag, instance string) *graylib.Journal {
	w.t.Helper()
	j, err := graylib.OpenJournal(dir, graylib.Identity{Service: service, Tag: tag, Instance: instance}, "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// faulty is a handler that fails with one message of three at first, in turn with a panic.
func faulty(s *sink) *sink {
	var mu sync.Mutex
	n := 0
	s.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		time.Sleep(time.Millisecond) // the work
		mu.Lock()
		n++
		turn := n
		mu.Unlock()
		switch {
		case m.ReconsumeTimes > 0 || turn%3 != 0:
			return consumer.ConsumeSuccess
		case turn%2 == 0:
			panic("every sixth")
		}
		return consumer.ConsumeRetryLater
	}
	return s
}

// TestJournalledProcess is the process that TestJournalOfAKilledConsumer kills: the lane's consumer.
func TestJournalledProcess(t *testing.T) {
	dir := os.Getenv(journalFolder)
	if dir == "" {
		t.Skip("started by TestJournalOfAKilledConsumer alone")
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		os.Exit(1)
	}()
	w := &world{t: t, namesrv: os.Getenv(killedNamesrv), topic: os.Getenv(killedTopic), group: os.Getenv(killedGroup), source: newRuleSource(listed(graylib.ModeAuto, "gray"))}
	c := w.open("gray", faulty(newSink()), w.journal(dir, "a", "gray", "a-killed"), nil)
	start(t, c)
	fmt.Println("started")
	<-t.Context().Done() // it is killed
}

// TestJournalOfAKilledConsumer kills a lane's consumer under load. The journals of all processes are then judged by message
// id: nothing lost, repeats within the spans of the killed one, nothing in the wrong lane, and nothing unjudged. And
// each line of them is what the schema says.
func TestJournalOfAKilledConsumer(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(4)
	dir := t.TempDir()
	base := w.journal(dir, "a", "", "a-base")
	b := w.open("", faulty(newSink()), base, nil)
	start(t, b)
	w.laneOwns(b) // so that it can be seen to give them up

	cmd := exec.Command(os.Args[0], "-test.run=^TestJournalledProcess$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), journalFolder+"="+dir, killedNamesrv+"="+w.namesrv, killedTopic+"="+w.topic, killedGroup+"="+w.group)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "started"; {
	}
	eventually(t, "the stand-in has given the lane's queues up", func() bool { return len(ownedBy(b, graylib.LaneGroup(w.group, "gray"))) == 0 })

	sender := w.journal(dir, "c", "", "c-1")
	rt := w.runtime("c", "", sender)
	p := w.producer("", WithProducerRuntime(rt))
	sent := 0
	gray := graylib.WithTag(t.Context(), "gray")
	body := func() *primitive.Message { sent++; return primitive.NewMessage(w.topic, []byte("body")) }
	var answered sync.WaitGroup
	load := func() {
		for i := range 100 {
			ctx := gray
			if i%3 == 0 {
				ctx = t.Context()
			}
			var err error
			switch i % 4 {
			case 0:
				_, err = p.SendSync(ctx, body())
			case 1:
				_, err = p.SendSync(ctx, body(), body(), body())
			case 2:
				answered.Add(1)
				err = p.SendAsync(ctx, func(_ context.Context, _ *primitive.SendResult, err error) {
					defer answered.Done()
					if err != nil {
						t.Error(err)
					}
				}, body())
			default:
				_, err = p.SendSync(ctx, body().WithDelayTimeLevel(1))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		answered.Wait()
	}
	load()
	handled := func() (killed, all int) {
		done := make(map[string]bool)
		_, err := graylib.ReadJournals(dir, func(_ graylib.JournalFile, e graylib.Event) error {
			if e.Result == graylib.ResultSuccess {
				done[e.ID] = true
				if e.Tag == "gray" {
					killed++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return killed, len(done)
	}
	eventually(t, "the lane's process handles messages", func() bool { killed, _ := handled(); return killed >= 20 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	load()
	tx, err := OpenTransactionProducer(committer{}, []producer.Option{producer.WithGroupName("P-tx-" + w.group)}, WithProducerRuntime(rt))
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Shutdown() }()
	if _, err := tx.SendMessageInTransaction(gray, body()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every message is handled", func() bool { _, all := handled(); return all == sent })
	w.shutdown(b)
	for _, j := range []*graylib.Journal{base, sender} {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j.Dropped() != 0 {
			t.Errorf("%d events are not in a journal", j.Dropped())
		}
	}

	h, err := judging.ReadHistory([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	a := h.Ledger.Judge(judging.LedgerOptions{})
	t.Logf("%d sent, %d handled, %d deliveries failed, %d repeated after the kill", a.Sent, a.Handled[w.group], a.Failed, a.Repeats)
	for _, f := range a.Broken {
		t.Error(f)
	}
	if len(a.Unjudged) > 0 || len(a.GapsKnown) > 0 || a.Sent != sent || a.Unsent != 0 || a.Handled[w.group] != sent || h.Unclosed != 1 || a.Failed == 0 {
		t.Errorf("unjudged %v, gaps %v, %d sent, %d unsent, %d unclosed: want %d sent, all handled and judged, one killed", a.Unjudged, a.GapsKnown, a.Sent, a.Unsent, h.Unclosed, sent)
	}
	validateLines(t, dir)
}

// committer commits every transaction.
type committer struct{}

func (committer) ExecuteLocalTransaction(*primitive.Message) primitive.LocalTransactionState {
	return primitive.CommitMessageState
}

func (committer) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	return primitive.CommitMessageState
}

// validateLines holds every complete line of the journals in a folder against the schema that docs publish.
func validateLines(t *testing.T, dir string) {
	t.Helper()
	raw, err := os.ReadFile("../../../docs/events.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("events.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("events.json")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	results := make(map[string]int)
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			if !strings.HasSuffix(line, "\n") {
				continue // torn by the kill
			}
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err == nil {
				err = schema.Validate(v)
			}
			if err != nil {
				t.Fatalf("the schema refuses %s: %v", line, err)
			}
			fields := v.(map[string]any)
			results[fmt.Sprint(fields["kind"], " ", fields["result"])]++
		}
	}
	for _, kind := range []string{"produced <nil>", "begun <nil>", "finished success", "finished retry", "finished panic", "finished skipped"} {
		if results[kind] == 0 {
			t.Errorf("no event %q among %v", kind, results)
		}
	}
}
