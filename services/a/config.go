package main

import "github.com/graychain/graychain/services/internal/config"

// service says which settings A has; services/internal/config reads them.
var service = config.Service{Name: "a", HTTPPort: 20001, Messages: true}
