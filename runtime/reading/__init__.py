"""What sources share: declared types, columns made of values, pictures, workers that keep the order."""
