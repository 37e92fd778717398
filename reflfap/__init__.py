"""Learning from adversarial perturbations, in plain array code.

The reference is S. Kumano, H. Kera, T. Yamasaki, *Theoretical Understanding of Learning from
Adversarial Perturbations*, ICLR 2024. Tags such as (N3) name equations; the README lists them.
"""

__version__ = "0.1.0"
