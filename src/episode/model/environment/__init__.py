"""What makes R_E: set encoder, Student, Teacher, and the Opportunist that R_E is tested against."""
