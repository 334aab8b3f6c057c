"""What `experiments.results` is made of: the list of parts, running them, digits and homophones, the written pages."""
