# Nothing to set: name and models are the module's only required inputs.
