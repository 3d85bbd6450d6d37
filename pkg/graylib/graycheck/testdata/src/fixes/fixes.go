package fixes

import (
	stdctx "context"
	"net/http"
	"time"

	gray "github.com/graychain/graychain/pkg/graylib"
	"github.com/panjf2000/ants/v2"

	"rpc"
)

var b rpc.Client

func serve(ctx stdctx.Context) {
	_, _ = b.Invoke(stdctx.Background(), "r") // want `loses`
	go func() {
		_, _ = b.Invoke(stdctx.Background(), "r") // want `loses`
	}()
	_ = ants.Submit(func() {
		_, _ = b.Invoke(stdctx.TODO(), "r") // want `loses`
	})
	time.AfterFunc(time.Second, func() {
		late, cancel := stdctx.WithTimeout(stdctx.Background(), time.Second) // want `loses`
		defer cancel()
		_, _ = b.Invoke(late, "r")
	})
	req, _ := http.NewRequest(http.MethodGet, "http://b/b", nil) // want `http\.NewRequest`
	_, _ = http.DefaultClient.Do(req)
	gray.Go(ctx, func(stdctx.Context) {
		_, _ = b.Invoke(stdctx.Background(), "r") // want `give the parameter a name`
	})
}

func handle(w http.ResponseWriter, r *http.Request) {
	_, _ = b.Invoke(stdctx.Background(), "r")            // want `loses`
	req, _ := http.NewRequest(http.MethodGet, "/b", nil) // want `http\.NewRequest`
	_, _ = http.DefaultClient.Do(req)
	{
		r := "shadowed"
		_, _ = b.Invoke(stdctx.Background(), r) // want `loses`
	}
}
