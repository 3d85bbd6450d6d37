package background

import (
	"context"

	"rpc"
)

func inTest(ctx context.Context) { _, _ = rpc.Client{}.Invoke(context.Background(), "r") }
