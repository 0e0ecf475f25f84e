"""The energy system: Backbone (U_I), and the parts that make R_E in `environment`."""
