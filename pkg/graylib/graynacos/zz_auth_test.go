package graynacos

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestManualAuth(t *testing.T) {
	addr := os.Getenv("MANUAL")
	if addr == "" {
		t.Skip()
	}
	for _, pw := range []string{"sesame", "wrong", ""} {
		c := graylib.Config{NacosAddr: addr, NacosUsername: "nacos", NacosPassword: pw, NacosNamespace: os.Getenv("MANUAL_NS")}
		if pw == "" {
			c.NacosUsername = ""
		}
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		g := WithRulesDocument("graychain.yaml", unique("G"))
		cl, err := Dial(t.Context(), c, log, g)
		if err != nil {
			t.Log(pw, "dial", err)
			continue
		}
		_, _, err = cl.Get(t.Context())
		t.Log(pw, "get:", err)
		t.Log(pw, "publish:", cl.Publish(t.Context(), []byte(doc(1, "gray")), ""))
		r, s, err := Open(graylib.Identity{Service: "a"}, c, log, g, WithStateDir(t.TempDir()))
		t.Log(pw, "open:", err, s.Status())
		t.Log(pw, "register:", r.Register(within(t, 5*time.Second), graylib.Registration{Service: "authx", Addr: "127.0.0.1:31004"}))
		tb, err := r.Table(within(t, 5*time.Second), "authx")
		t.Log(pw, "table:", inTable(tb), err)
		time.Sleep(time.Second)
		t.Log(pw, "status:", s.Status(), inTable(tb))
		t.Log(r.Close(), s.Close(), cl.Close())
	}
}
