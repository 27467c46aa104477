package rig

// Abandon leaves everything as the death of the rig's process would.
func (r *Rig) Abandon() {
	r.claim.file.Close()
	r.closing.Do(func() {})
}

// Namespaces returns the network namespaces of the rig that exist.
func (r *Rig) Namespaces() ([]string, error) { return namespaces(r.claim.prefix) }
