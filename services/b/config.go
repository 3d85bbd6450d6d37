package main

import "github.com/graychain/graychain/services/internal/config"

// service says which settings B has; services/internal/config reads them.
var service = config.Service{Name: "b", HTTPPort: 20002, RPCPort: 12080}
