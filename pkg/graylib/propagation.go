package graylib

import (
	"errors"
	"net/netip"
	"time"
)

// propagation is what a runtime has beside our own key: further carriers, and whose word counts at the edge.
type propagation struct {
	// What options asked for, beside the configuration.
	baggage  bool
	presets  []string
	keys     []TrustKey
	networks []netip.Prefix

	others   *others // nil: our own key alone
	trust    *trust  // nil: nobody's word counts
	stripper *stripper
}

// prepare reads configuration and options. Errors wrap ErrInvalidConfig, all of them at once.
func (p *propagation) prepare(c Config) error {
	presets, err := parsePresets(c.Presets)
	errs := []error{err}
	for _, one := range p.presets {
		more, err := parsePresets(one)
		presets, errs = append(presets, more...), append(errs, err)
	}
	keys, err := ParseTrustKeys(c.TrustKeys)
	errs = append(errs, err)
	networks, err := ParseTrustCIDRs(c.TrustCIDRs)
	errs = append(errs, err)
	t := &trust{keys: make(map[string][]byte), now: time.Now}
	for _, k := range append(keys, p.keys...) {
		if err := k.check(); err != nil {
			errs = append(errs, invalid(EnvTrustKeys, k.ID+":…", err.Error()))
		}
		if _, twice := t.keys[k.ID]; twice {
			errs = append(errs, invalid(EnvTrustKeys, k.ID+":…", "the id stands there twice"))
		}
		t.keys[k.ID] = k.Secret
	}
	for _, n := range append(networks, p.networks...) {
		if n.IsValid() {
			t.networks = append(t.networks, unmapped(n.Masked()))
		}
	}
	seen := make(map[string]bool)
	for i := range presets {
		if seen[presets[i].name] {
			errs = append(errs, invalid(EnvPresets, presets[i].name, "stands there twice"))
		}
		seen[presets[i].name] = true
	}
	p.others = newOthers(c.Baggage || p.baggage, presets)
	if len(t.keys)+len(t.networks) > 0 {
		p.trust = t
	}
	p.stripper = newStripper(presets)
	return errors.Join(errs...)
}

// checkPropagation says what prepare would say of a configuration.
func checkPropagation(c Config) error { return new(propagation).prepare(c) }

// fill adds what is counted here to a status.
func (p *propagation) fill(s *Status) {
	s.Stripped = p.stripper.counts()
	s.Trust = p.trust.status()
	if p.others != nil {
		s.TagDisagreements = p.others.disagreements.Load()
		s.BaggageFull = p.others.baggageFull.Load()
	}
}
