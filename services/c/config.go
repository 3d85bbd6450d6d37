package main

import "github.com/graychain/graychain/services/internal/config"

// service says which settings C has; services/internal/config reads them.
var service = config.Service{Name: "c", HTTPPort: 20003, RPCPort: 13080, Messages: true, Job: true}
