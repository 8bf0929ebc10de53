"""The first screen: one page over other rooms' queries; imported by the factory alone."""
