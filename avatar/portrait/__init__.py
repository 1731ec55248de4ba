"""Portrait analysis: any picture file -> framed face with landmarks, irises and person matte, or a clear refusal."""
