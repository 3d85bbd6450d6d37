package serve

import (
	"github.com/graychain/graychain/pkg/graylib"
	_ "github.com/graychain/graychain/pkg/graylib/graynacos" // the registry and the rules of graylib.Open
	"github.com/graychain/graychain/services/internal/config"
)

// Open makes the runtime from the configuration, on Nacos. With Nacos away it opens all the same, on what is known. The
// answers are renderings of hops, so it collects them.
func Open(c config.Config, more ...graylib.Option) (*graylib.Runtime, error) {
	return graylib.Open(c.Identity, c.Gray, nil, append([]graylib.Option{graylib.WithHops()}, more...)...)
}
