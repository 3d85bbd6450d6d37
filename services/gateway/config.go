package main

import "github.com/graychain/graychain/services/internal/config"

// service says which settings the gateway has; services/internal/config reads them.
var service = config.Service{Name: "gateway", HTTPPort: 20000}
