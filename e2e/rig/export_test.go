package rig

// Abandon leaves everything as the death of the rig's process would.
func (r *Rig) Abandon() {
	r.claim.file.Close()
	r.closing.Do(func() {})
}
